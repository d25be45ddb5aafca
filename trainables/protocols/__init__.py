"""Named evaluations of inpainting: test images, masks and metrics; and rating the fills of any program by them."""
