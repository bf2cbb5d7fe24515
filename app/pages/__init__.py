"""The pages, a file each: gradio components and what happens between them. What is shown is found outside."""
