# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the parts of run.sh share."""
