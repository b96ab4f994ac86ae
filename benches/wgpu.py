"""The same model on PyTorch and ONNX Runtime, on a GPU: what benches/wgpu.rs stands beside.

python wgpu.py MODEL.onnx BATCH LENGTH... prints a line of JSON for each engine: its name, and milliseconds a batch
(the median of 50 after 10) or why there are none. A MODEL of `bert-base` is PyTorch's own encoder of those sizes with
random weights.
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


def onnxruntime(path, batch, length, provider, library=None):
    import numpy
    import onnxruntime

    if library:
        onnxruntime.register_execution_provider_library(provider, library)
    if provider not in onnxruntime.get_available_providers() and not library:
        raise RuntimeError(f"this build has no {provider}")
    session = onnxruntime.InferenceSession(path, providers=[provider])
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} was not taken: {session.get_providers()}")
    random = numpy.random.default_rng(1)
    inputs = {}
    for value in session.get_inputs():
        ids = random.integers(0, 100, (batch, length), dtype=numpy.int64)
        inputs[value.name] = numpy.ones_like(ids) if "mask" in value.name else ids
        if "type" in value.name:
            inputs[value.name] = numpy.zeros_like(ids)
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
    path, batch, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if path == "bert-base":
        import importlib

        for name in ("float32", "float16"):
            dtype = lambda: getattr(importlib.import_module("torch"), name)
            tell(f"PyTorch {name}", lambda: torch(batch, length, dtype()))
        return
    tell("ONNX Runtime CUDA", lambda: onnxruntime(path, batch, length, "CUDAExecutionProvider"))

    def webgpu():
        import onnxruntime_ep_webgpu

        library = onnxruntime_ep_webgpu.get_library_path()
        return onnxruntime(path, batch, length, "WebGpuExecutionProvider", library)

    tell("ONNX Runtime WebGPU", webgpu)


main()
