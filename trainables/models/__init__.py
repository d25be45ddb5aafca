"""The networks, one a file, found by module name; see `trainables.schema` for how their options are read.

Every file has a `Config` and `build(config, size) -> nn.Module`. Two further functions are optional:

    scope(config, size) -> Scope                             where the losses compare only a part of the output
    build_discriminator(config, size, term) -> nn.Module     for each term in `Config.adversarial`, called when it has a
                                                             weight; what it must be is in `trainables.adversarial`
"""
