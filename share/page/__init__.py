"""The page behind a share's link."""
