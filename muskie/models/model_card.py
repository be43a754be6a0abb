"""The README beside saved weights, for people and for the Hugging Face hub."""

MODEL_CARD = """---
{{ card_data }}
---

# {{ title | default("A muskie model", true) }}

A vision transformer, pre-trained to fill in hidden patches of the views of a scene. `config.json` says its shape and which
parts it has: those of [Muskie](https://arxiv.org/abs/2511.18115), whose views see each other, of
[MuM](https://arxiv.org/abs/2511.17309), CroCo v2 or MAE.
{% if result %}
{{ result }}
{% endif %}
```python
import torch
import muskie

model = muskie.from_pretrained("PATH").eval()  # this folder, or its name on the hub
with torch.inference_mode():
    patches = model.forward_features(images).patches  # images [B, V, 3, H, W] in [0, 1] -> [B, V, L, C]
```
"""
"""A template for `huggingface_hub`, which fills in `card_data`; `title` and `result` come with
`save_pretrained(folder, model_card_kwargs={...})`."""

RECONSTRUCTION_CARD = """---
{{ card_data }}
---

# {{ title | default("A muskie reconstruction model", true) }}

Points, cameras and confidence of all views of a scene in one pass, fine-tuned from a backbone that was pre-trained to fill
in hidden patches of several views ([Muskie](https://arxiv.org/abs/2511.18115)). `config.json` says its shape.
{% if result %}
{{ result }}
{% endif %}
```python
import torch
import muskie

model = muskie.load_reconstruction_model("PATH")  # this folder, or its name on the hub
with torch.inference_mode():
    geometry = model(images)  # images [B, V, 3, H, W] in [0, 1]; geometry.points [B, V, H, W, 3], geometry.cam2world
```
"""
"""The same of a reconstruction model."""
