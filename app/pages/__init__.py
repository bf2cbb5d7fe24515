"""The pages, a file each: gradio components and what happens between them. What they show is found one floor up."""
