"""Classic GLM (base to 10B): configuration, model, tokenizers, inputs and generation."""

from transformers import AutoConfig, AutoModel

from ptv2_scale.backbones.glm_classic.configuration import ClassicGlmConfig
from ptv2_scale.backbones.glm_classic.model import ClassicGlm

__all__ = ["ClassicGlm", "ClassicGlmConfig"]

# Folders that this class saved are then found like those of transformers' own models.
AutoConfig.register(ClassicGlmConfig.model_type, ClassicGlmConfig)
AutoModel.register(ClassicGlmConfig, ClassicGlm)
