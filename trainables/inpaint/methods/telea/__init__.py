"""OpenCV's fast-marching fill (A. Telea 2004, "An image inpainting technique based on the fast marching method").

A classical baseline that needs no training. It works on single 8-bit images on the CPU, whatever the device. An image
that is all hole becomes grey (0.5).
"""
