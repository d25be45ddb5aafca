"""What the dashboard's pages show, one module a page; Streamlit takes a folder called pages for scripts."""
