"""Models made by nnU-Net v2: reading their folders, importing them as bundles, and running them as nnU-Net does.

nnU-Net: Isensee et al., Nature Methods 18 (2021) 203-211. What is followed here is the behaviour of nnunetv2 2.8.1,
held to it by ``tests/integration/test_nnunet_agreement.py``.
"""
