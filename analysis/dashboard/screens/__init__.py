"""The dashboard's pages, one module each. Not called `pages`, because Streamlit runs the files of such a folder."""
