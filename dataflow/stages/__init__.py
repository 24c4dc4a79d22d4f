"""What happens to datapoints on their way: pure, single-threaded stages."""

from dataflow.stages.batch import BatchData
from dataflow.stages.cache import CacheData
from dataflow.stages.combine import ConcatData, JoinData, RandomChooseData, RandomMixData
from dataflow.stages.inspect import PrintData, TestDataSpeed
from dataflow.stages.item import AsyncStage, ItemStage
from dataflow.stages.map import FilterData, MapData, MapDataComponent, SelectComponent
from dataflow.stages.order import IndexSource, OrderStage
from dataflow.stages.repeat import RepeatedData, RepeatedDataPoint
from dataflow.stages.shapes import BatchDataByShape
from dataflow.stages.shard import ShardData
from dataflow.stages.shuffle import LocallyShuffleData
from dataflow.stages.size import FillUpData, FixedSizeData

__all__ = [
    "AsyncStage",
    "BatchData",
    "BatchDataByShape",
    "CacheData",
    "ConcatData",
    "FillUpData",
    "FilterData",
    "FixedSizeData",
    "IndexSource",
    "ItemStage",
    "JoinData",
    "LocallyShuffleData",
    "MapData",
    "MapDataComponent",
    "OrderStage",
    "PrintData",
    "RandomChooseData",
    "RandomMixData",
    "RepeatedData",
    "RepeatedDataPoint",
    "SelectComponent",
    "ShardData",
    "TestDataSpeed",
]
