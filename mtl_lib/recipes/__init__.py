"""How the networks that travel with the package were made, one runnable module for each.

``python -m mtl_lib.recipes.classifier`` trains it again and stores the parameters with their card.
"""
