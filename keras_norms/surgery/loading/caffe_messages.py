"""The messages of a `.caffemodel` file: of Caffe's protobuf definitions what `load` reads, with its field numbers.

Source of the numbers: `src/caffe/proto/caffe.proto` of BVLC/caffe. Fields that are not described here are skipped
when a file is read.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "bool": _Field.TYPE_BOOL,
    "double": _Field.TYPE_DOUBLE,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
}
# A star for a repeated field, two for one whose numbers are packed.
_MESSAGES = {
    "BlobShape": {"dim": (1, "int64**")},
    "BlobProto": {
        "num": (1, "int64"),
        "channels": (2, "int64"),
        "height": (3, "int64"),
        "width": (4, "int64"),
        "data": (5, "float**"),
        "shape": (7, "BlobShape"),
        "double_data": (8, "double**"),
    },
    "BatchNormParameter": {"moving_average_fraction": (2, "float", "0.999"), "eps": (3, "float", "1e-5")},
    "ConvolutionParameter": {"bias_term": (2, "bool", "true")},
    "InnerProductParameter": {"bias_term": (2, "bool", "true"), "transpose": (6, "bool")},
    "ScaleParameter": {"bias_term": (4, "bool")},
    "LayerParameter": {
        "name": (1, "string"),
        "type": (2, "string"),
        "bottom": (3, "string*"),
        "top": (4, "string*"),
        "blobs": (7, "BlobProto*"),
        "convolution_param": (106, "ConvolutionParameter"),
        "inner_product_param": (117, "InnerProductParameter"),
        "batch_norm_param": (139, "BatchNormParameter"),
        "scale_param": (142, "ScaleParameter"),
    },
    # Of 2014, before the layers had types by name. The type is an enumeration: see `V1_TYPES`.
    "V1LayerParameter": {
        "bottom": (2, "string*"),
        "top": (3, "string*"),
        "name": (4, "string"),
        "type": (5, "int32"),
        "blobs": (6, "BlobProto*"),
        "convolution_param": (10, "ConvolutionParameter"),
        "inner_product_param": (17, "InnerProductParameter"),
    },
    "NetParameter": {
        "name": (1, "string"),
        "layers": (2, "V1LayerParameter*"),
        "layer": (100, "LayerParameter*"),
    },
}
V1_TYPES = {4: "Convolution", 14: "InnerProduct", 39: "Deconvolution"}


def _file():
    file = descriptor_pb2.FileDescriptorProto(name="keras_norms/caffe.proto", package="caffe", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind, *default) in fields.items():
            base = kind.rstrip("*")
            field = message.field.add(name=field_name, number=number)
            field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            field.options.packed = kind.endswith("**")
            if base in _TYPES:
                field.type = _TYPES[base]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".caffe.{base}"
            if default:
                (field.default_value,) = default
    return file


def _classes():
    # A pool of its own: the process may have loaded Caffe's definitions under the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_file().SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in _MESSAGES}


NetParameter = _classes()["NetParameter"]
