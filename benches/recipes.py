"""Variants as the reference tools make them: onnxruntime.quantization and onnxruntime.transformers.

    python recipes.py MODEL.onnx SAMPLES.npz FOLDER RECIPE…

SAMPLES.npz holds calibration samples, `0/NAME` being input NAME of sample 0. Each recipe is given the
parameters that its name has here, and goes to FOLDER/RECIPE.onnx; what a tool cannot make is said on
standard error and left out.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

WEIGHTED = ["MatMul", "Gemm", "Conv"]


class Samples(CalibrationDataReader):
    def __init__(self, path):
        archive = np.load(path)
        samples = {}
        for key in archive.files:
            at, name = key.split("/", 1)
            samples.setdefault(int(at), {})[name] = archive[key]
        self.rest = iter([samples[at] for at in sorted(samples)])

    def get_next(self):
        return next(self.rest, None)


def static(model, samples, out, method=CalibrationMethod.MinMax, ops=WEIGHTED, extra=None):
    quantize_static(
        model,
        out,
        Samples(samples),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=ops,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        extra_options=extra or {},
    )


def dynamic(model, out, ops):
    quantize_dynamic(
        model, out, op_types_to_quantize=ops, per_channel=True, weight_type=QuantType.QInt8
    )


def blocks(model, out, bits, symmetric):
    quantizer = MatMulNBitsQuantizer(
        onnx.load(model), bits=bits, block_size=32, is_symmetric=symmetric, accuracy_level=4
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(out))


def half(model, out):
    # The converter of onnxconverter-common leaves casts to f32 as they are, and most of its files with
    # such casts cannot be loaded.
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), out)


RECIPES = {
    "fp16": lambda m, s, o: half(m, o),
    "int8-dynamic": lambda m, s, o: dynamic(m, o, ["MatMul", "Gemm"]),
    "int8-dynamic-conv": lambda m, s, o: dynamic(m, o, WEIGHTED),
    "int8-dynamic-embeddings": lambda m, s, o: dynamic(m, o, ["MatMul", "Gemm", "Gather"]),
    "int8-static": static,
    "int8-static-percentile-99.99": lambda m, s, o: static(
        m, s, o, CalibrationMethod.Percentile, extra={"CalibPercentile": 99.99}
    ),
    "int8-static-entropy": lambda m, s, o: static(m, s, o, CalibrationMethod.Entropy),
    "int8-static-every-op": lambda m, s, o: static(m, s, o, ops=None),
    "int4-b32": lambda m, s, o: blocks(m, o, 4, True),
    "int4-b32-asymmetric": lambda m, s, o: blocks(m, o, 4, False),
    "int8-b32": lambda m, s, o: blocks(m, o, 8, True),
}


def main():
    model, samples, folder, *recipes = sys.argv[1:]
    for recipe in recipes:
        out = Path(folder) / f"{recipe}.onnx"
        if recipe not in RECIPES:
            print(f"{recipe}: the reference tools have no such recipe", file=sys.stderr)
            continue
        try:
            RECIPES[recipe](model, samples, out)
        except Exception as error:  # A tool that fails is a finding, not the end of the comparison.
            print(f"{recipe}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            out.unlink(missing_ok=True)
            continue
        try:
            onnx.checker.check_model(str(out))
        except onnx.checker.ValidationError as error:
            print(f"{recipe}: onnx.checker: {str(error)[:200]}", file=sys.stderr)


if __name__ == "__main__":
    main()
