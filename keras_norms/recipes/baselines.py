"""What an architecture is trained with unless told otherwise.

Momentum and weight decay are the published ones, and so are the schedules of
CaffeNet128 and GoogLeNet128. Data set, batch size, number of epochs and learning
rate are for a machine without accelerators. These are starting points, not the
published experiments.
"""

from keras_norms.recipes import recipe

# Caffe's solvers of ducha-aiki/caffenet-benchmark: a rate of 0.01 at 256 images, three drops in 320,000 steps.
CAFFENET128 = recipe.Recipe(
    "caffenet128", learning_rate=0.01, schedule="step", drops=(0.3125, 0.625, 0.9375), weight_decay=5e-4
)
GOOGLENET128 = recipe.Recipe("googlenet128", learning_rate=0.01, schedule="linear", weight_decay=2e-4)

# gcr/torch-residual-networks: 0.1 at 128 images, but its drops after 80 and 120 of 200 epochs suit long trainings:
# after three epochs of CIFAR-10 they lead to 0.66 test accuracy, the cosine to 0.71.
RESNET20 = recipe.Recipe("resnet20", batch_size=128, learning_rate=0.1)

# He et al.: 0.1 at 256 images. The rate for smaller batches is in proportion.
RESNET50 = recipe.Recipe(
    "resnet50", batch_size=32, learning_rate=0.1, lr_scaling="linear", lr_batch_size=256, weight_decay=1e-4
)
# "Dive into Deep Learning" has neither momentum nor decay; the rate suits momentum.
ALEXNET = recipe.Recipe("alexnet", batch_size=128, learning_rate=0.01, weight_decay=0.0)

BASELINES = {
    "caffenet128": CAFFENET128,
    "caffenet128_maxout": CAFFENET128.but(arch="caffenet128_maxout"),
    "googlenet128": GOOGLENET128,
    "googlenet128_bn": GOOGLENET128.but(arch="googlenet128_bn"),
    "resnet20": RESNET20,
    "resnet32": RESNET20.but(arch="resnet32"),
    "resnet44": RESNET20.but(arch="resnet44"),
    "resnet56": RESNET20.but(arch="resnet56"),
    "resnet110": RESNET20.but(arch="resnet110"),
    "resnet50": RESNET50,
    "alexnet": ALEXNET,
}
