"""Runs in the kernel before a submission: prints have a limit, and ``exit()`` is an error.

The kernel queues what is printed faster than it can be sent, without a bound; so the limit has to
be here. It is for accidents: code that wants to get round it can.
"""


def prepare(limit=100_000):
    """Limit what a cell prints, and let ``exit()`` end a cell instead of Python."""
    import contextlib
    import sys

    shell = get_ipython()  # noqa: F821
    left = {}

    def limited(stream):
        write = stream.write

        def bounded(text):
            room = left.get(stream.name, limit)
            left[stream.name] = room - len(text)
            if room > 0:
                write(text[:room])
                if room <= len(text):
                    write("\n[the rest of this cell's output was cut]\n")
            return len(text)

        stream.write = bounded

    def leave(*_):
        raise SystemExit("exit() ends the cell, not the grading")

    limited(sys.stdout)
    limited(sys.stderr)
    shell._tee = lambda channel: contextlib.nullcontext()  # keeps a second copy of everything
    shell.events.register("pre_run_cell", lambda *_: left.clear())
    shell.user_ns.update(exit=leave, quit=leave)


prepare()
del prepare
