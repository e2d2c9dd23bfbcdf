from ptv2_scale.config.recipe import *
