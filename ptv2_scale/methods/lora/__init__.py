"""LoRA: trained low-rank terms beside the backbone's linear layers, as PEFT makes them."""
