"""Sets of real and inpainted images: made here, or published by others."""
