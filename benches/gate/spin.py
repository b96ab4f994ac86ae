"""A worker that spins for as many microseconds a batch as its argument says, and loads nothing
(docs/worker-protocol.md)."""

import json, sys, time
spin = float(sys.argv[1]) * 1e3

def send(event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()

for line in sys.stdin:
    command = json.loads(line)
    kind = command["cmd"]
    if kind == "prepare":
        runtime = {"name": "spinner", "version": "1", "path": None, "sha256": None}
        send({"event": "prepared", "facts": {"device": "none", "runtime": runtime, "threads": 1,
              "load": 1000000, "compile": 0, "weights": 0}})
    elif kind == "warm":
        send({"event": "warmed", "first": 0, "batches": 1, "peak_rss": 1000000})
    elif kind == "burst":
        timed = []
        for batch, sample in enumerate(command["samples"]):
            start = time.perf_counter_ns()
            while time.perf_counter_ns() - start < spin:
                pass
            timed.append([start, start, start, time.perf_counter_ns(), batch, 0, sample, 0])
        send({"event": "observations", "rows": timed})
        send({"event": "burst_done"})
    else:
        send({"event": "bye"})
        break
