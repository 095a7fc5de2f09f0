"""Modules that hide their layers, converted into equal ones made of ``nn.Linear``."""

from ngpd_fl.models.conversion.convert import convert

__all__ = ["convert"]
