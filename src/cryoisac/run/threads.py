"""Threads of the libraries below: none but those of the engine."""

from contextlib import AbstractContextManager


def one_thread_a_product() -> AbstractContextManager[object]:
    """Return a context in which each product of matrices takes one thread, whatever the machine has.

    Their rounding is then the same for any number of cores; and blocks of images, which have a thread each already, do
    not wait for one another.
    """
    from threadpoolctl import threadpool_limits  # sets an environment variable when it is imported

    limits: AbstractContextManager[object] = threadpool_limits(1, user_api="blas")
    return limits
