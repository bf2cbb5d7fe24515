"""The web app on this machine: create, audit, results, data. What is shown is found by pure functions here;
how it is shown stands in `templates/` and `pages/`, which alone know gradio. Nothing is computed that no
table has, but pictures that are asked for.
"""
