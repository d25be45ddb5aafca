"""Who may look and who may act: the token, compared in the session before anything else is shown."""

from __future__ import annotations

import hmac

import streamlit as st

from analysis.dashboard.settings import Settings

_KNOWN = "token_known"


def let_in(settings: Settings) -> bool:
    """Whether this session may see pages. Takes a token out of the address, so that no copied address carries it."""
    offered = st.query_params.get("token")
    if offered is not None:
        st.session_state[_KNOWN] = _is_right(settings, offered)
        del st.query_params["token"]
    return not settings.closed or knows_token()


def knows_token() -> bool:
    return bool(st.session_state.get(_KNOWN))


def ask(settings: Settings, why: str) -> None:
    """A form for the token; the page runs again when it is right."""
    with st.form("token", width=440):
        st.markdown(f"**Token**  \n{why}")
        offered = st.text_input("Token", type="password", label_visibility="collapsed", autocomplete="off")
        if st.form_submit_button("Continue", type="primary"):
            if _is_right(settings, offered):
                st.session_state[_KNOWN] = True
                st.rerun()
            st.error("That is not this dashboard's token. `sweeps dashboard` printed it when it was started.")


def _is_right(settings: Settings, offered: str) -> bool:
    return hmac.compare_digest(offered.encode(), settings.token.encode())
