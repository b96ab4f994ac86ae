"""The same model on PyTorch and ONNX Runtime, on a GPU: what benches/wgpu.rs stands beside.

python wgpu.py MODEL.onnx SHAPE BATCH LENGTH prints a line of JSON for each engine: its name, and milliseconds a batch
(the median of 50 after 10) or why there are none. For a SHAPE of `bert-base` PyTorch runs its own encoder of those sizes
with random weights.
"""

import json
import statistics
import sys
import time


def timed(run, wait=lambda: None):
    for _ in range(10):
        run()
    wait()
    times = []
    for _ in range(50):
        start = time.perf_counter()
        run()
        wait()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def tell(engine, measure):
    try:
        found = {"engine": engine, "ms": measure()}
    except Exception as error:  # Whatever is missing is said, not hidden.
        found = {"engine": engine, "why_not": str(error).splitlines()[0][:200]}
    print(json.dumps(found), flush=True)


def inputs_of(session, batch, length):
    import numpy

    random = numpy.random.default_rng(1)
    inputs = {}
    for value in session.get_inputs():
        ids = random.integers(0, 100, (batch, length), dtype=numpy.int64)
        inputs[value.name] = numpy.ones_like(ids) if "mask" in value.name else ids
        if "type" in value.name:
            inputs[value.name] = numpy.zeros_like(ids)
    return inputs


def onnxruntime(path, batch, length, provider):
    import onnxruntime

    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"this build has no {provider}")
    session = onnxruntime.InferenceSession(path, providers=[provider])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} was not taken: {session.get_providers()}")
    inputs = inputs_of(session, batch, length)
    return timed(lambda: session.run(None, inputs))


def webgpu(path, batch, length):
    # The plug-in's own way (its README): register the library, then take one of the devices that it finds.
    import onnxruntime
    import onnxruntime_ep_webgpu as plugin

    name = plugin.get_ep_name()
    onnxruntime.register_execution_provider_library(name, plugin.get_library_path())
    devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == name]
    if not devices:
        raise RuntimeError("the plug-in finds no adapter")
    options = onnxruntime.SessionOptions()
    options.add_provider_for_devices([devices[0]], {})
    session = onnxruntime.InferenceSession(path, sess_options=options)
    inputs = inputs_of(session, batch, length)
    return timed(lambda: session.run(None, inputs))


def torch(batch, length, dtype):
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no CUDA device")
    layer = torch.nn.TransformerEncoderLayer(768, 12, 3072, activation="gelu", batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 12).eval().cuda().to(dtype)
    x = torch.randn(batch, length, 768, device="cuda", dtype=dtype)
    with torch.inference_mode():
        return timed(lambda: model(x), torch.cuda.synchronize)


def main():
    path, shape, batch, length = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    if shape == "bert-base":
        import importlib

        for name in ("float32", "float16"):
            dtype = lambda: getattr(importlib.import_module("torch"), name)
            tell(f"PyTorch {name}", lambda: torch(batch, length, dtype()))
    tell("ONNX Runtime CUDA", lambda: onnxruntime(path, batch, length, "CUDAExecutionProvider"))
    tell("ONNX Runtime WebGPU", lambda: webgpu(path, batch, length))


main()
