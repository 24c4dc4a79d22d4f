"""What happens to datapoints on their way: pure, single-threaded stages."""

from dataflow.stages.batch import BatchData
from dataflow.stages.inspect import PrintData, TestDataSpeed
from dataflow.stages.item import AsyncStage, ItemStage
from dataflow.stages.map import FilterData, MapData, MapDataComponent
from dataflow.stages.repeat import OrderStage, RepeatedData
from dataflow.stages.shuffle import LocallyShuffleData
from dataflow.stages.size import FixedSizeData

__all__ = [
    "AsyncStage",
    "BatchData",
    "FilterData",
    "FixedSizeData",
    "ItemStage",
    "LocallyShuffleData",
    "MapData",
    "MapDataComponent",
    "OrderStage",
    "PrintData",
    "RepeatedData",
    "TestDataSpeed",
]
