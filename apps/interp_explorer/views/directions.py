"""The library of saved directions."""

import streamlit as st


st.title("Directions", anchor=False)
