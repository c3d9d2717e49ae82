"""Memory that was freed, and is kept by the C library for what comes next."""

import contextlib
import ctypes


def give_back() -> None:
  """Returns freed memory to the system; takes about 20 ms.

  Compilers and TensorFlow allocate on threads of their own. glibc keeps a heap for
  each, and in their holes hundreds of MB. Elsewhere there is no such function, and
  nothing happens.
  """
  with contextlib.suppress(AttributeError, OSError, TypeError):
    ctypes.CDLL(None).malloc_trim(0)
