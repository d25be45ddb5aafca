"""Sets of real and inpainted images: forged here, or published by others."""
