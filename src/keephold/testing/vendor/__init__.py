"""A development vendor: issues real-format DCAP quotes and collateral under a root of its own."""

from keephold.testing.vendor.documents import Status
from keephold.testing.vendor.vendor import DevelopmentVendor, Machine, measurement_of
from keephold.testing.vendor.wire import Build, SgxBuild, TdxBuild

__all__ = ["Build", "DevelopmentVendor", "Machine", "SgxBuild", "Status", "TdxBuild", "measurement_of"]
