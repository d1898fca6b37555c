"""What the cluster made of Debian packages needs beside Kubernetes: a name server and a volume provisioner."""
