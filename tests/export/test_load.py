"""Many requests from many threads through one loaded signature."""

import concurrent.futures
import gc

import numpy as np
import psutil
import tensorflow as tf

REQUESTS, THREADS = 10_000, 8


def test_ten_thousand_requests_from_eight_threads_get_right_answers_and_leave_no_memory(version, pixels):
    serve = tf.saved_model.load(version).signatures["serving_default"]
    images = [tf.constant(pixels[i : i + 1], tf.float32) for i in range(len(pixels))]
    expected = [serve(image=image)["probabilities"].numpy() for image in images]

    def ask(number):
        answer = serve(image=images[number % len(images)])
        return np.array_equal(answer["probabilities"].numpy(), expected[number % len(images)])

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(ask, range(1_000)))  # threads and buffers come to be
        gc.collect()
        before = psutil.Process().memory_info().rss
        assert all(pool.map(ask, range(REQUESTS)))
        gc.collect()
        assert psutil.Process().memory_info().rss - before < 20e6
