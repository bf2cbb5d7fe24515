"""What a person may set, typed: every field with its default, range and meaning. Reading files lives in
`pipelines.profiles`.
"""
