"""Where datapoints come from."""

from dataflow.sources.columns import Columns
from dataflow.sources.fake import FakeData
from dataflow.sources.generator import DataFromGenerator
from dataflow.sources.keyed import KeyedSource
from dataflow.sources.lists import DataFromList

__all__ = ["Columns", "DataFromGenerator", "DataFromList", "FakeData", "KeyedSource"]
