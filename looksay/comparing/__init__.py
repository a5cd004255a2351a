"""The same photos through several models, graded blind: which one is good enough for these photos?"""
