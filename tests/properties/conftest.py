"""The same examples in each run, on each machine."""

import hypothesis
import keras

# JAX compiles every operation for every shape.
EXAMPLES = 4 if keras.backend.backend() == "jax" else 30
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, database=None, deadline=None, max_examples=EXAMPLES
)
hypothesis.settings.load_profile("repeatable")
