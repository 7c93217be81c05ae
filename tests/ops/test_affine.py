import numpy as np
import pytest
from keras import ops

from keras_norms.ops import affine


@pytest.mark.parametrize("scale", [None, np.array([[2, 3], [5, 7], [-1, 0.5]], "float32")])
@pytest.mark.parametrize("bias", [None, np.array([[1, -1], [0.5, 4], [10, 0]], "float32")])
def test_values_lie_along_their_axes(scale, bias, hostile):
    x = hostile((4, 3, 5, 2))
    y = ops.convert_to_numpy(affine.transformed(ops.convert_to_tensor(x), scale, bias, (-1, 1)))
    expected = x * (1 if scale is None else scale[:, None, :]) + (0 if bias is None else bias[:, None, :])
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
