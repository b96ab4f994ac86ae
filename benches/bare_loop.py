"""ONNX Runtime in a plain Python loop, behind the worker protocol (docs/worker-protocol.md)."""

import json
import sys
import time

import numpy as np
import onnxruntime as ort

session = None
name = None
rows = []


def send(event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def prepare(command):
    global session, name, rows
    options = ort.SessionOptions()
    options.intra_op_num_threads = command["options"]["threads"]
    options.inter_op_num_threads = 1
    path = command["variant"]["path"]
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    data = np.load(command["data"])[name]
    rows = [np.ascontiguousarray(data[i : i + 1]) for i in range(len(data))]
    runtime = {"name": "onnxruntime (Python)", "version": ort.__version__}
    send({
        "event": "prepared",
        "facts": {
            "device": session.get_providers()[0],
            "runtime": {**runtime, "path": None, "sha256": None},
            "threads": options.intra_op_num_threads,
            "load": 0,
            "compile": 0,
            "weights": command["options"]["weights"],
        },
    })


def warm():
    for row in rows[:20]:
        session.run(None, {name: row})
    send({"event": "warmed", "first": 0, "batches": 20, "peak_rss": None})


def burst(samples):
    timed = []
    for batch, sample in enumerate(samples):
        start = time.perf_counter_ns()
        session.run(None, {name: rows[sample]})
        done = time.perf_counter_ns()
        timed.append([start, start, start, done, batch, 0, sample, 0])
    send({"event": "observations", "rows": timed})
    send({"event": "burst_done"})


for line in sys.stdin:
    command = json.loads(line)
    kind = command["cmd"]
    if kind == "prepare":
        prepare(command)
    elif kind == "warm":
        warm()
    elif kind == "burst":
        burst(command["samples"])
    else:
        send({"event": "bye"})
        break
