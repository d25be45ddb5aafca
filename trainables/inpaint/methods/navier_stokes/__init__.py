"""OpenCV's fill by fluid dynamics (M. Bertalmio et al. 2001, "Navier-Stokes, fluid dynamics, and image inpainting").

A classical baseline that needs no training: it continues isophotes (lines of equal brightness) into the hole.
"""
