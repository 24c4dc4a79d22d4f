"""Where datapoints come from."""

from dataflow.sources.columns import Columns
from dataflow.sources.fake import FakeData
from dataflow.sources.generator import DataFromGenerator, DataFromIterable
from dataflow.sources.keyed import KeyedSource
from dataflow.sources.lists import DataFromList
from dataflow.sources.mapped import DataFromDataset, from_dataset
from dataflow.sources.queue import DataFromQueue
from dataflow.sources.ray_data import from_ray
from dataflow.sources.table import read_table

__all__ = [
    "Columns",
    "DataFromDataset",
    "DataFromGenerator",
    "DataFromIterable",
    "DataFromList",
    "DataFromQueue",
    "FakeData",
    "KeyedSource",
    "from_dataset",
    "from_ray",
    "read_table",
]
