"""Backbone, method and head as one plain module."""
