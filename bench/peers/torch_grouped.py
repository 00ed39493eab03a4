"""A ViT-tiny of transformers in PyTorch over images grouped by size: the peer of bench/encoder.ts.

Reads one line of JSON, [[height, width], ...], and for each further line runs once and answers the milliseconds.
Needs torch and transformers. Weights and pixels are random: only time is measured.
"""

import json
import sys
import time
from collections import defaultdict

import torch
from transformers import ViTConfig, ViTModel

config = ViTConfig(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768)
model = ViTModel(config).eval()
groups = defaultdict(int)
for height, width in json.loads(sys.stdin.readline()):
    groups[height, width] += 1
batches = [torch.randn(count, 3, height, width) for (height, width), count in groups.items()]
for _ in sys.stdin:
    start = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            model(pixel_values=batch, interpolate_pos_encoding=True)
    print((time.perf_counter() - start) * 1000, flush=True)
