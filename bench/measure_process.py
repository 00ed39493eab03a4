"""Runs one command and prints, as JSON, its wall and processor time in seconds, its peak memory in bytes, its exit status.

    python bench/measure_process.py COMMAND [ARGUMENT ...]

The command's own output is dropped, its errors are kept.
"""

import json
import resource
import subprocess
import sys
import time


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: measure_process.py COMMAND [ARGUMENT ...]")
    start = time.perf_counter()
    done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    peak = used.ru_maxrss * unit
    print(json.dumps({"seconds": seconds, "processor": processor, "peak": peak, "status": done.returncode}))


if __name__ == "__main__":
    main()
