"""How a server puts the requests of many clients into one batch: `batching_params.pbtxt` of a version.

TensorFlow Serving reads it with `--enable_batching --enable_per_model_batching_parameters`. Batches are filled up to
one of the allowed sizes, so that each size is computed, and warmed up, once.
"""

FILE = "batching_params.pbtxt"
SIZES = (1, 8, 32)
_PARAMETERS = f"""\
max_batch_size {{ value: {SIZES[-1]} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: 4 }}
{"".join(f"allowed_batch_sizes: {size}{chr(10)}" for size in SIZES)}"""


def write(version):
    """Writes the file into the folder of a version."""
    (version / FILE).write_text(_PARAMETERS, encoding="utf-8")
