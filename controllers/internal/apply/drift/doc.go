// SPDX-License-Identifier: Apache-2.0

// Package drift remembers what was applied and notices when the cluster no longer agrees. Its memory answers the
// question that makes a reconcile in which nothing changed cost no request (weakness W2): is this object still as we
// left it? Its metadata watches wake an owner when one of its objects was changed or deleted by somebody else.
//
// A change of status, or of fields that are not ours, is no drift: package ownership tells them apart. An object that
// drifts again and again, because two parties disagree about it, wakes its owner at growing intervals only.
//
// Package drift corrects nothing. The owner's next run does, through apply, which asks Judge. Its memory is that of the
// process: after a restart everything is compared once. Under which identity a namespace is watched is decided by the
// client that the owner applies with.
package drift
