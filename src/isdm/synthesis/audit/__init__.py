"""The stage `audit`: agreement with the masks, fidelity, diversity, copying."""

from isdm.synthesis.audit.agreement import masks_of_other_images
from isdm.synthesis.audit.stage import FILE_NAME, audit

__all__ = ["FILE_NAME", "audit", "masks_of_other_images"]
