"""What a file or a dict of another framework holds, in the words of this package."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Part:
    """An array of the source.

    Attributes:
        entry: String, what the source calls it.
        array: Float64 array.
    """

    entry: str
    array: object


@dataclasses.dataclass(frozen=True)
class Module:
    """The arrays that belong to one layer in the source.

    Attributes:
        name: String, the layer's name there.
        parts: Dict from words of this package to `Part`: `kernel` and `bias`; `direction` and `length` of a normalized
            kernel; `mean`, `variance`, `weight` (what the averages are to be divided by), `scale` and `bias` of a norm.
            What has no word here goes by its name there.
        epsilon: Float or None, that of a norm.
        momentum: Float or None, the weight that the moving averages of a norm keep.
        scale_module: String or None, the name of the module with scale and bias of this norm.
    """

    name: str
    parts: dict
    epsilon: float | None = None
    momentum: float | None = None
    scale_module: str | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """All that was found.

    Attributes:
        modules: Dict from names to `Module`.
        channels_first: Boolean, whether kernels are (out, in, ...), and flattened images (channels, height, width).
    """

    modules: dict
    channels_first: bool


def by_name(modules):
    """Returns a dict from names to modules.

    Raises:
        ValueError: Two of them have the same name.
    """
    named = {module.name: module for module in modules}
    if len(named) < len(modules):
        names = [module.name for module in modules]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"The source has several layers of the same name, so that none can be named: {twice}.")
    return named
