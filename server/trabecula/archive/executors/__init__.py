"""How studies are run: in this process (``inline``), in worker processes here (``process``), or on a Ray cluster
(``ray``, with the extra ``archive``). All three run the very same :class:`trabecula.archive.study.ReadStudy`."""
