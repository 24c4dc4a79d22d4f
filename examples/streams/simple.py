"""Random elements of a list: python examples/streams/simple.py"""

import argparse

from dataflow import stream as st


@st.stream
def simple():
    return st.constant([1, 2, 3, 7, 8, 9, 4, 5, 6]).random()


argparse.ArgumentParser(description="Print random elements of a list.").parse_args()
for (element,) in simple().take(10):
    print(element)
