"""stub"""
from __future__ import annotations
from typing import Any, Literal, Annotated, Union
from pydantic import BaseModel, ConfigDict, Field
import yaml, pathlib
class S(BaseModel):
    model_config=ConfigDict(extra="forbid", frozen=True)
class Backbone(S):
    name: str
    revision: str|None=None
    tokenizer: str|None=None
    dtype: Literal["bf16","fp32"]="bf16"
    dropout: float|None=None
    weights: Literal["any","safetensors"]="any"
    trust_remote_code: bool=False
class Prefix(S):
    method: Literal["prefix"]="prefix"
    length:int=20
    encoder: Literal["table","mlp"]="table"
    hidden:int=512
    layers: Any="all"
    slots: Any="all"
    dropout: float=0.1
    init: str="random"
    init_scale: float=0.02
    init_text: str|None=None
    init_from: str|None=None
    positions: str="shift"
    def layer_numbers(self,total):
        return tuple(range(total))
class HeadOnly(S):
    method: Literal["none"]="none"
class Task(S):
    name:str
    path:str|None=None
    train:str|None=None
    validation:str|None=None
    test:str|None=None
    text:str|None=None
    text_pair:str|None=None
    label:str|None=None
    labels:list[str]|None=None
    metric:str|None=None
    head:str|None=None
    max_length:int=128
class Train(S):
    seed:int=11
    epochs:int|None=None
    steps:int|None=None
    global_batch:int=32
    micro_batch:int=8
    lr:float=5e-3
    weight_decay:float=0.
    betas:tuple[float,float]=(0.9,0.999)
    eps:float=1e-8
    schedule:str="linear"
    warmup:float=0.
    decay:float=0.95
    clip:float|None=1.0
    gradient_checkpointing:bool=True
    cpu_threads:int=1
    head_only_baseline:bool=False
class Evaluate(S):
    every:int|None=None
    micro_batch:int=16
    patience:int|None=None
class Checkpoint(S):
    every:int|None=None
    keep:int=2
class RunConfig(S):
    backbone: Backbone
    prompt: Union[Prefix,HeadOnly]=Field(discriminator="method",default=Prefix())
    task: Task
    train: Train=Train()
    evaluate: Evaluate=Evaluate()
    checkpoint: Checkpoint=Checkpoint()
    deepspeed: str="zero3"
    run: str|None=None
    trackers: list[str]=[]
def load_recipe(path, overrides):
    d=yaml.safe_load(pathlib.Path(path).read_text())
    for o in overrides:
        k,v=o.split("=",1); t=d
        *p,l=k.split(".")
        for x in p: t=t.setdefault(x,{})
        v=yaml.safe_load(v)
        try: v=float(v) if isinstance(v,str) else v
        except ValueError: pass
        t[l]=v
    return RunConfig.model_validate(d)
def override(c,o):
    return c
def dump_recipe(c): return yaml.safe_dump(c.model_dump(mode="json"))
